/* What commands whose options are parsed by getopt_long(":...") share. Option ids begin at OPTION_ID_FIRST. */
#pragma once

#include <stddef.h>

#include "base/error.h"

enum { OPTION_ID_FIRST = 256 };

/* Appends the value of a repeatable option; the list is its owner's, the values are argv's. */
void option_list_add(const char ***list, size_t *n, const char *value);
/* The error for getopt_long's ':' (a value is missing) or '?'. @argv[0] is the command's name. Returns its code. */
int option_refuse(int id, char **argv, struct error *err);
