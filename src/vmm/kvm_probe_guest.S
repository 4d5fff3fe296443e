/*
 * The micro-guests of kvm_probe.c: one blob, copied to PROBE_LOAD (1 MiB) and entered at one of its
 * labels, at CPL0 with identity-mapped memory. Each ends in `out %al, $PORT_DONE`, which is its
 * answer; a fault has no handler and ends in a triple fault, an instruction that KVM cannot emulate
 * in KVM_EXIT_INTERNAL_ERROR.
 *
 * %rdi: an address for probes that take one; %rcx: a loop count.
 */
#define PORT_DONE 0xf4
#define LOAD 0x100000
#define AT(label) (LOAD + (label - kvm_probe_blob))

	.section .rodata
	.code64
	.balign 16
	.global kvm_probe_blob, kvm_probe_blob_end
kvm_probe_blob:

	.macro probe name
	.balign 16
	.global kvm_probe_\name
kvm_probe_\name:
	.endm

	.macro done
	mov $1, %al
	out %al, $PORT_DONE
	.endm

	probe popcnt
	mov $7, %ecx
	popcnt %ecx, %eax
	done

	probe andn
	andn %ecx, %edx, %eax
	done

	probe shlx
	shlx %ecx, %edx, %eax
	done

	probe cmpxchg16b
	lea AT(scratch), %rsi
	lock cmpxchg16b (%rsi)
	done

	probe stac
	stac
	clac
	done

	probe fwait
	fninit
	fwait
	done

	/* CR4.OSXSAVE, XCR0 = x87, then a round trip of the x87 state. */
	probe xrstor
	mov %cr4, %rax
	or $(1 << 18 | 1 << 9), %rax
	mov %rax, %cr4
	xor %ecx, %ecx
	xor %edx, %edx
	mov $1, %eax
	xsetbv
	lea AT(xsave_area), %rsi
	xsave (%rsi)
	xrstor (%rsi)
	done

	probe int3
	lgdt AT(gdt_pointer)
	lidt AT(idt_pointer)
	int3
	done

	/* The local APIC's timer: one shot of 10,000 ticks of 1 ns, awaited by a bounded loop. */
	probe timer
	lgdt AT(gdt_pointer)
	lidt AT(idt_pointer)
	mov $0xfee00000, %rsi
	movl $0x1ff, 0xf0(%rsi)
	movl $0xb, 0x3e0(%rsi)
	movl $0x40, 0x320(%rsi)
	movl $10000, 0x380(%rsi)
	sti
1:	dec %rcx
	jnz 1b
	mov $0, %al
	out %al, $PORT_DONE

	probe loop
1:	dec %rcx
	jnz 1b
	done

	probe store
1:	mov %eax, (%rdi)
	dec %rcx
	jnz 1b
	done

	/* Opens the first 2 MiB for user mode, then goes there with IOPL 3. */
	.macro enter_user target
	lgdt AT(gdt_pointer)
	mov %cr3, %rax
	orq $4, (%rax)
	mov (%rax), %rax
	and $~0xfff, %rax
	orq $4, (%rax)
	mov (%rax), %rax
	and $~0xfff, %rax
	orq $4, (%rax)
	mov %cr3, %rax
	mov %rax, %cr3
	pushq $0x23
	pushq $AT(stack_end)
	pushq $0x3002
	pushq $0x2b
	pushq $AT(\target)
	iretq
	.endm

	probe user_loop
	enter_user user_loop
user_loop:
1:	dec %rcx
	jnz 1b
	done

	/*
	 * STAR: kernel 0x10/0x18, user from 0x18; LSTAR: syscall_entry; EFER.SCE. Answers with
	 * the CPL found there.
	 */
	probe syscall
	mov $0xc0000080, %ecx
	rdmsr
	or $1, %eax
	wrmsr
	mov $0xc0000081, %ecx
	xor %eax, %eax
	mov $0x00180010, %edx
	wrmsr
	mov $0xc0000082, %ecx
	mov $AT(syscall_entry), %eax
	xor %edx, %edx
	wrmsr
	mov $0xc0000084, %ecx
	xor %eax, %eax
	xor %edx, %edx
	wrmsr
	enter_user user_syscall
user_syscall:
	syscall
syscall_entry:
	mov %cs, %eax
	and $3, %al
	inc %al
	out %al, $PORT_DONE

return_handler:
	iretq
timer_handler:
	done

	.balign 16
/* Selectors of the Linux boot protocol, so that those in use stay valid; then user mode's. */
gdt:
	.quad 0
	.quad 0
	.quad 0x00af9b000000ffff
	.quad 0x00cf93000000ffff
	.quad 0x00cff3000000ffff
	.quad 0x00affb000000ffff
gdt_end:
gdt_pointer:
	.word gdt_end - gdt - 1
	.quad AT(gdt)

	/*
	 * A gate's address is not known to the assembler in halves: 1 MiB + offset < 2 MiB, so
	 * bits 16..31 are 0x10.
	 */
	.macro gate handler
	.word (\handler - kvm_probe_blob)
	.word 0x10
	.word 0x8e00
	.word (LOAD >> 16)
	.quad 0
	.endm
	.balign 16
idt:
	.fill 3 * 16, 1, 0
	gate return_handler
	.fill (0x40 - 4) * 16, 1, 0
	gate timer_handler
idt_end:
idt_pointer:
	.word idt_end - idt - 1
	.quad AT(idt)

	.balign 16
scratch:
	.fill 16, 1, 0
	.balign 64
xsave_area:
	.fill 1024, 1, 0
	.fill 1024, 1, 0
stack_end:
kvm_probe_blob_end:
	.section .note.GNU-stack,"",@progbits
