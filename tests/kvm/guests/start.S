/*
 * Entry of a micro-guest: 64-bit mode, CPL 0, interrupts off, first 4 GiB mapped one to one, RSI = boot parameters.
 * The host's boot stack is small, so the guest brings its own.
 */
	.section .text.start, "ax"
	.globl _start
_start:
	cld
	lea	boot_stack_top(%rip), %rsp
	xor	%ebp, %ebp
	mov	%rsi, %rdi
	call	guest_run
	ud2

	.bss
	.balign	16
boot_stack:
	.skip	32768
boot_stack_top:

	.section .note.GNU-stack, "", @progbits
