/* GDT and identity map for the 64-bit entry. Set-up thread. */
#pragma once

#include "bus/guest_mem.h"

/* Writes both at the places of layout.h. -EFAULT: no memory there. */
MUST_CHECK int page_tables_write(const struct guest_mem *mem);
