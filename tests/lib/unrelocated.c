/* Start code that applies relative relocations alone, as musl's does. */
typedef unsigned long word;
extern word _DYNAMIC[] __attribute__((visibility("hidden")));
extern char __ehdr_start[] __attribute__((visibility("hidden")));
static long call(long number, long a, const char *b, long c) {
    register long r1 __asm__("1") = number, r2 __asm__("2") = a, r4 __asm__("4") = c;
    register const char *r3 __asm__("3") = b;
    __asm__ volatile("svc 0" : "+r"(r2) : "r"(r1), "r"(r3), "r"(r4) : "memory");
    return r2;
}
void say(void) { call(4, 1, "started\n", 8); }
void (*volatile pointer)(void) = say;
void _start(void) {
    word *table = 0, size = 0, base = (word)__ehdr_start;
    for (word *entry = _DYNAMIC; entry[0]; entry += 2) {
        if (entry[0] == 7) table = (word *)(base + entry[1]);
        if (entry[0] == 8) size = entry[1];
    }
    for (word *r = table; r < table + size / 8; r += 3)
        if (r[1] == 12) *(word *)(base + r[0]) = base + r[2];
    pointer();
    call(1, 0, 0, 0);
}
