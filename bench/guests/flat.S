/*
 * The same guest for our VMM and for QEMU microvm. Ours enters it by its ELF entry in 64-bit mode, QEMU by its PVH note
 * in 32-bit mode; every instruction below is the same bytes and the same act in both.
 *
 * It says that it runs (port 0xE9, QEMU's debug console; nobody's with us), then ends, by ACPI sleep control with us and
 * by isa-debug-exit in QEMU. With IDLE it halts for ever instead: a VM to look at.
 */
	.section .text.start, "ax"
	.globl _start
_start:
	mov	$'!', %al
	out	%al, $0xE9
#ifndef IDLE
	mov	$0x601, %edx		/* ACPI sleep control register */
	mov	$(5 << 2 | 0x20), %al	/* S5, sleep enable */
	out	%al, %dx
	xor	%eax, %eax
	out	%al, $0xF4		/* isa-debug-exit: status 1 */
#endif
	cli
1:	hlt
	jmp	1b

	.section .note.xen, "a", @note
	.long	4, 4, 18		/* name, value, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.long	_start

	.section .note.GNU-stack, "", @progbits
