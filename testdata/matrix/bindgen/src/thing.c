#include "thing.h"

ssize_t thing_sum(const struct thing *it) { return it->flag + it->length + (it->name[3] == 0); }
size_t thing_size(void) { return sizeof(struct thing); }
