/*
 * Says hello on COM1, tells what the host handed over, powers off. Word: crc (adds the initrd's
 * CRC-32, slow for large ones).
 */
#include "guest.h"

#include "abi/frame.h"

void guest_main(const struct boot_params *boot)
{
	serial_put("hello\ncommand line: ");
	serial_put(boot_command_line(boot));
	size_t n;
	const uint8_t *initrd = boot_initrd(boot, &n);
	serial_put("\ninitrd: ");
	serial_put_number(n);
	if (boot_word(boot, "crc", NULL)) {
		serial_put(" ");
		serial_put_hex(frame_crc32(0, initrd, n));
	}
	serial_put("\n");
}
