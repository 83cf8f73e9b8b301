#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#if LONG_MAX > 2147483647L
#define LONG_SIZE 8
#else
#define LONG_SIZE 4
#endif

struct thing {
    uint8_t flag;
    long length;
    char name[4];
};

ssize_t thing_sum(const struct thing *it);
size_t thing_size(void);
