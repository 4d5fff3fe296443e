/*
 * What an application processor runs after SIPI: 16-bit code, copied to page 8. It marks its APIC id and counts itself.
 * The copy lies in segment 0x800, so labels are addressed relative to its begin.
 */
	.section .rodata
	.globl smp_trampoline, smp_trampoline_end
	.code16
smp_trampoline:
	cli
	mov	%cs, %ax
	mov	%ax, %ds
	mov	$1, %eax
	cpuid
	shr	$24, %ebx
	movb	$1, (smp_seen - smp_trampoline)(%bx)
	lock incl (smp_count - smp_trampoline)
1:	hlt
	jmp	1b
	.balign	4
smp_count:
	.long	0
smp_seen:
	.skip	256
smp_trampoline_end:
	.globl smp_count, smp_seen

	.section .note.GNU-stack, "", @progbits
