/*
 * What a second CPU runs after SIPI: from real mode to the first CPU's long mode and page tables, then a C function. Copied
 * to page 8; data in it is addressed relative to its begin (segment 0x800) or to 0x8000.
 */
	.set	TRAMPOLINE, 0x8000
	.section .rodata
	.globl second_trampoline, second_trampoline_end, second_cr3, second_stack, second_entry
	.code16
second_trampoline:
	cli
	mov	%cs, %ax
	mov	%ax, %ds
	lgdtl	(gdtr - second_trampoline)
	mov	$0x20, %eax			/* PAE */
	mov	%eax, %cr4
	mov	(second_cr3 - second_trampoline), %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx		/* EFER */
	rdmsr
	or	$0x100, %eax			/* LME */
	wrmsr
	mov	%cr0, %eax
	or	$0x80000001, %eax		/* PG, PE */
	mov	%eax, %cr0
	ljmpl	$8, $(TRAMPOLINE + long_mode - second_trampoline)
	.code64
long_mode:
	mov	$16, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	TRAMPOLINE + second_stack - second_trampoline, %rsp
	xor	%ebp, %ebp
	cld
	call	*(TRAMPOLINE + second_entry - second_trampoline)
1:	hlt
	jmp	1b
	.balign	8
gdt:
	.quad	0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdtr:
	.word	gdtr - gdt - 1
	.long	TRAMPOLINE + gdt - second_trampoline
	.balign	8
second_cr3:
	.quad	0
second_stack:
	.quad	0
second_entry:
	.quad	0
second_trampoline_end:

	.section .note.GNU-stack, "", @progbits
