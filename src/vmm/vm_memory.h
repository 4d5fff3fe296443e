/*
 * Guest RAM: host mappings, KVM memory slots, and the images that lie in it. Set-up thread (the
 * VM's I/O thread).
 *
 *	host:   one reservation, aligned to 2 MiB, in which the nodes' mappings follow each other
 *	guest:  | node 0 | node 1 .. | gap below 4 GiB | .. node 1 | node 2 |
 *	slots:  |         0          |                 |         1          |
 *
 * One mapping per range of the layout, so that each node's pages can come from host nodes of its
 * own; one KVM slot and one guest_mem range per contiguous stretch of guest addresses.
 */
#pragma once

#include "arch/arch.h"
#include "bus/guest_mem.h"

struct kernel_image;

/* Pages of 2 MiB from the host's pool (hugetlbfs). */
enum vm_hugepages {
	VM_HUGEPAGES_OFF,
	VM_HUGEPAGES_TRY,     /* normal pages, and fell_back, where the pool has not enough */
	VM_HUGEPAGES_REQUIRE, /* an error then: class skip */
};

/* A set of host NUMA nodes, as mbind takes it; empty: any. */
enum { VM_HOST_NODES_MAX = 1024 };
struct vm_host_nodes {
	unsigned long bits[VM_HOST_NODES_MAX / (8 * sizeof(unsigned long))];
};

struct vm_memory_config {
	const struct memory_layout *layout;
	enum vm_hugepages hugepages;
	bool share; /* a memfd that others can map, instead of private memory */
	const struct vm_host_nodes *host_nodes; /* one per node of the layout; NULL: any */
};

struct vm_memory {
	struct guest_mem mem;
	uint8_t *base; /* the reservation; NULL: none */
	size_t len;
	int fd;         /* of shared memory; -1: none */
	bool overlay;   /* file pages may take the place of ours */
	bool fell_back; /* there were not enough huge pages */
};
#define VM_MEMORY_INIT ((struct vm_memory){ .fd = -1 })

/*
 * Maps RAM as @config->layout says. Huge pages are all taken here, not when the guest touches them
 * (one that is missing then would be a SIGBUS); normal ones come as they are touched, bound nodes or
 * not. On error vm_memory_fini is still due.
 */
MUST_CHECK int vm_memory_init(struct vm_memory *m, const struct vm_memory_config *config,
			      struct error *err);
/* What is touched from now on stays in RAM, though nothing is touched by this. 0, or -errno (-ENOMEM, -EPERM: RLIMIT_MEMLOCK). */
MUST_CHECK int vm_memory_lock(const struct vm_memory *m);
/* Idempotent; after the VM was closed. */
void vm_memory_fini(struct vm_memory *m);
/* Gives @vm_fd a slot for each range. */
MUST_CHECK int vm_memory_set_slots(const struct guest_mem *mem, int vm_fd, struct error *err);
/* The kernel's segments. Error (class usage): one lies outside RAM. */
MUST_CHECK int vm_memory_load_kernel(const struct vm_memory *m, const struct kernel_image *kernel,
				     struct error *err);
/*
 * @len bytes of @fd from @offset on at @gpa: whole pages of private memory as a copy-on-write
 * mapping of the file, so that VMs of a batch share them; the rest, and all of memory that is
 * shared, bound or huge, as a copy.
 */
MUST_CHECK int vm_memory_load_file(const struct vm_memory *m, gpa_t gpa, int fd, uint64_t offset,
				   uint64_t len, struct error *err);
