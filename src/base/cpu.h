/* The processor this runs on. */
#pragma once

/* In a loop that waits for another CPU: leaves the core to its other thread for a moment. */
static inline void cpu_pause(void)
{
	__builtin_ia32_pause();
}
