/*
 * A minimal AML emitter (ACPI 6.5, chapter 20): scopes, devices, names, packages of integers,
 * resource templates. Blocks nest; a block's length is put in when it ends. Set-up thread; memory
 * is struct buf's.
 */
#pragma once

#include "base/buf.h"

enum { AML_MAX_DEPTH = 8 };

struct aml {
	struct buf out;
	size_t block[AML_MAX_DEPTH]; /* where the length of each open block goes */
	size_t depth;
};

void aml_fini(struct aml *a);

/* @name: four characters everywhere, as stored ("_SB_"). Each begin has its aml_end. */
void aml_begin_scope(struct aml *a, const char *name);
void aml_begin_device(struct aml *a, const char *name);
void aml_end(struct aml *a);

/* Name (name, value) */
void aml_name_int(struct aml *a, const char *name, uint64_t value);
void aml_name_string(struct aml *a, const char *name, const char *value);
/* @id like "PNP0501": three capitals, four hexadecimal digits. */
void aml_name_eisaid(struct aml *a, const char *name, const char *id);
void aml_name_package(struct aml *a, const char *name, const uint64_t *values, size_t n);

/* Resource descriptors (ACPI 6.5, 6.4), collected and then named. */
struct aml_crs {
	uint8_t bytes[64];
	size_t n;
};
void aml_crs_io(struct aml_crs *c, uint16_t base, uint8_t len);
void aml_crs_memory32(struct aml_crs *c, uint32_t base, uint32_t len);
/* Edge-triggered, active high, exclusive. */
void aml_crs_interrupt(struct aml_crs *c, uint32_t gsi);
/* Name (_CRS, ResourceTemplate () {...}) */
void aml_name_crs(struct aml *a, const struct aml_crs *c);
