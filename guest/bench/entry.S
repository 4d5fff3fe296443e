/* Entries from outside of C's rules: interrupts, and both ways across the privilege levels (cpu.c). */
#define SELECTOR_USER_DATA	0x23
#define SELECTOR_USER_CODE	0x2b
#define USER_FLAGS		0x0002	/* interrupts off */
#define SAVED_WORDS		9

	.macro save
	push	%rax
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	cld
	.endm

	.macro restore
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rax
	.endm

	.text
/* The processor aligned the stack and pushed 5 words, save 9: aligned for the call. */
	.globl cpu_interrupt_entry
cpu_interrupt_entry:
	save
	call	cpu_on_interrupt
	restore
	iretq

	.globl cpu_spurious_entry
cpu_spurious_entry:
	iretq

/*
 * A kernel call is the undefined instruction: `int` is more than some KVMs can emulate. %rdi: the function. The return
 * address is moved behind the instruction's 2 bytes.
 */
	.globl cpu_call_kernel_entry
cpu_call_kernel_entry:
	save
	addq	$2, 8 * SAVED_WORDS(%rsp)
	call	*%rdi
	restore
	iretq

	.globl cpu_call_kernel
cpu_call_kernel:
	mov	%cs, %eax
	test	$3, %al
	jz	1f
	ud2			/* a kernel call */
	ret
1:	jmp	*%rdi

/*
 * cpu_run_user: the user's half runs on the caller's stack, below the registers kept here; its end is a kernel call that
 * does not return to it.
 */
	.globl cpu_run_user
cpu_run_user:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, saved_stack
	lea	-16(%rsp), %rax		/* as a call leaves it: 8 beside a multiple of 16 */
	mov	%rax, %rsp
	movq	$user_end, (%rax)
	pushq	$SELECTOR_USER_DATA
	pushq	%rax
	pushq	$USER_FLAGS
	pushq	$SELECTOR_USER_CODE
	pushq	%rdi
	iretq
user_end:
	mov	$leave_user, %edi
	ud2			/* a kernel call */
leave_user:
	mov	saved_stack, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

	.bss
	.balign	8
saved_stack:
	.skip	8

	.section .note.GNU-stack, "", @progbits
