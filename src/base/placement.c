#include "base/placement.h"

#include <stdlib.h>

void placement_fini(struct placement *p)
{
	freep(&p->vcpu_cpus);
	freep(&p->node_mems);
	*p = (struct placement){ 0 };
}
