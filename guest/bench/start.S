/*
 * The two ways in. ktstr enters the ELF's entry in 64-bit mode (RSI: zero page), QEMU microvm enters the PVH note's
 * address in 32-bit mode (EBX: struct hvm_start_info). Both take this file's page tables and segments, and both go on in
 * bench_main with the kernel command line.
 *
 * Everything is mapped one to one, up to 4 GiB, and open to user mode: the measuring loop may run at CPL 3.
 */
#define ZERO_PAGE_CMD_LINE	0x228
#define START_INFO_CMD_LINE	24
#define XEN_ELFNOTE_PHYS32_ENTRY 18
#define CR0_PE_PG		0x80000001
#define CR4_PAE			0x20
#define MSR_EFER		0xC0000080
#define EFER_LME		0x100
#define CS			0x10
#define DS			0x18
#define PTE_TABLE		0x7	/* present, writable, user */
#define PTE_2M			0x87

	.section .text.start, "ax"
	.code64
	.globl _start
_start:
	mov	ZERO_PAGE_CMD_LINE(%rsi), %ebx
	mov	$page_map, %eax
	mov	%rax, %cr3
	lgdt	gdt_pointer
	pushq	$CS
	pushq	$start_64
	lretq

	.code32
start_pvh:
	cli
	mov	START_INFO_CMD_LINE(%ebx), %ebx
	lgdt	gdt_pointer
	mov	%cr4, %eax
	or	$CR4_PAE, %eax
	mov	%eax, %cr4
	mov	$page_map, %eax
	mov	%eax, %cr3
	mov	$MSR_EFER, %ecx
	rdmsr
	or	$EFER_LME, %eax
	wrmsr
	mov	%cr0, %eax
	or	$CR0_PE_PG, %eax
	mov	%eax, %cr0
	ljmp	$CS, $start_64

	.code64
start_64:
	cld
	mov	$DS, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	$boot_stack_top, %rsp
	xor	%ebp, %ebp
	mov	%ebx, %edi
	call	bench_main
	ud2

	.data
	.balign	16
	.globl bench_gdt
bench_gdt:
	.quad	0, 0
	.quad	0x00af9b000000ffff	/* 0x10: code, CPL 0 */
	.quad	0x00cf93000000ffff	/* 0x18: data */
	.quad	0x00cff3000000ffff	/* 0x20: data, CPL 3 */
	.quad	0x00affb000000ffff	/* 0x28: code, CPL 3 */
	.quad	0, 0			/* 0x30: task state, written by cpu.c */
gdt_end:
gdt_pointer:
	.word	gdt_end - bench_gdt - 1
	.quad	bench_gdt

	.balign	4096
page_map:
	.quad	page_pointers + PTE_TABLE
	.fill	511, 8, 0
page_pointers:
	.quad	page_directories + PTE_TABLE, page_directories + 0x1000 + PTE_TABLE
	.quad	page_directories + 0x2000 + PTE_TABLE, page_directories + 0x3000 + PTE_TABLE
	.fill	508, 8, 0
page_directories:
	.set	page, 0
	.rept	2048
	.quad	page | PTE_2M
	.set	page, page + 0x200000
	.endr

	.bss
	.balign	16
	.skip	32768
boot_stack_top:

	.section .note.xen, "a", @note
	.long	4, 4, XEN_ELFNOTE_PHYS32_ENTRY
	.asciz	"Xen"
	.long	start_pvh

	.section .note.GNU-stack, "", @progbits
