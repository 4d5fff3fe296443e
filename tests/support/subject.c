/* See subject.h. */
#include "support/subject.h"

#include "virtio/virtio_wire.h"

const struct subject_kind *const subject_kinds[] = { &subject_blk, &subject_console, &subject_net };
const size_t n_subject_kinds = ARRAY_SIZE(subject_kinds);

static void open_device(struct subject *s)
{
	hostile_map_rest(&s->rig.mem);
	s->dev = s->kind->open(s);
	rig_attach(&s->rig, s->dev, NULL);
	fake_driver_init(&s->driver, &s->rig.mem, rig_region(&s->rig), GPA(HOSTILE_ARENA));
}

void subject_open(struct subject *s, const struct subject_kind *kind, enum reactor_backend backend)
{
	*s = (struct subject){ .kind = kind };
	rig_open(&s->rig, backend, HOSTILE_MEM);
	open_device(s);
}

void subject_open_beside(struct subject *s, const struct subject_kind *kind,
			 const struct subject *other)
{
	*s = (struct subject){ .kind = kind };
	rig_open_beside(&s->rig, &other->rig, HOSTILE_MEM);
	open_device(s);
}

void subject_close(struct subject *s)
{
	rig_detach(&s->rig);
	s->kind->close(s);
	rig_close(&s->rig);
}

void subject_attack(struct subject *s, uint64_t features)
{
	fake_driver_init(&s->driver, &s->rig.mem, rig_region(&s->rig), GPA(HOSTILE_ARENA));
	fake_driver_start(&s->driver, features & fake_driver_offered(&s->driver), s->kind->n_queues,
			  HOSTILE_QUEUE);
	rig_turns(&s->rig, 2);
}

void subject_kick(struct subject *s, uint32_t q_idx)
{
	fake_driver_write(&s->driver, VIRTIO_MMIO_QUEUE_NOTIFY, q_idx);
	s->kind->provoke(s, q_idx);
}

void subject_recover(struct subject *s)
{
	rig_reset(&s->rig);
	s->kind->boot(s);
	s->kind->use(s);
}
