/*
 * What an application processor of a machine with wide APIC ids runs after SIPI: 16-bit code, copied to 0x40000. It goes
 * to x2APIC mode, marks its id, counts itself and waits for interrupts, which it counts and ends. The copy lies in segment
 * 0x4000, so labels are addressed relative to its begin; stacks of 32 bytes are in segment 0x5000.
 */
	.section .rodata
	.globl wide_trampoline, wide_trampoline_end, wide_handler, wide_count, wide_interrupts, wide_last_id, wide_seen
	.code16
#define AT(label) (label - wide_trampoline)
wide_trampoline:
	cli
	mov	%cs, %ax
	mov	%ax, %ds
	mov	$0x1b, %ecx		/* APIC base: x2APIC */
	rdmsr
	or	$0x400, %eax
	wrmsr
	mov	$0x80f, %ecx		/* spurious vector, enable */
	mov	$0x1ff, %eax
	xor	%edx, %edx
	wrmsr
	mov	$0x802, %ecx		/* own id */
	rdmsr
	mov	$0x5000, %cx
	mov	%cx, %ss
	mov	%ax, %bx
	mov	%ax, %sp
	shl	$5, %sp
	add	$32, %sp
	movb	$1, AT(wide_seen)(%bx)
	lock incl AT(wide_count)
	sti
1:	hlt
	jmp	1b
wide_handler:				/* the loop above keeps nothing in registers */
	mov	$0x802, %ecx
	rdmsr
	mov	%eax, AT(wide_last_id)
	lock incl AT(wide_interrupts)
	mov	$0x80b, %ecx		/* EOI */
	xor	%eax, %eax
	xor	%edx, %edx
	wrmsr
	iret
	.balign	4
wide_count:
	.long	0
wide_interrupts:
	.long	0
wide_last_id:
	.long	0
wide_seen:
	.skip	1024
wide_trampoline_end:

	.section .note.GNU-stack, "", @progbits
