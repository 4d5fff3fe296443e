/* ktstr-init, the guest's static PID 1, inside ktstr: one file, never of another version. */
	.section .rodata
	.balign 4096
	.global guest_init_begin
	.global guest_init_end
guest_init_begin:
	.incbin KTSTR_INIT_FILE
guest_init_end:
	.section .note.GNU-stack,"",@progbits
