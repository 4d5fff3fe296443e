/* The VM process of a batch (vmm_main.c) inside ktstr, as ktstr-init is (guest_init.S); nothing where it was not built. */
	.section .rodata
	.balign 4096
	.global vm_program_begin
	.global vm_program_end
vm_program_begin:
#ifdef KTSTR_VM_PROGRAM_FILE
	.incbin KTSTR_VM_PROGRAM_FILE
#endif
vm_program_end:
	.section .note.GNU-stack,"",@progbits
