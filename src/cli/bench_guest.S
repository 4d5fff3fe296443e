/* The benchmark's guest (guest/bench) inside ktstr, as ktstr-init is (guest_init.S). */
	.section .rodata
	.balign 4096
	.global bench_guest_begin
	.global bench_guest_end
bench_guest_begin:
	.incbin KTSTR_BENCH_GUEST_FILE
bench_guest_end:
	.section .note.GNU-stack,"",@progbits
