/* Process 1 of a container started with --init: waits for all, passes signals to the program, ends as it ends.

   argv[1] is the program's pid. All signals are blocked when this starts; it knows no C library and needs no file.
   tools/make_reaper.py compiles it and writes the bytes into runtime/reaper_program.py. */

#if defined(__x86_64__)
#define NR_WAIT4 61
#define NR_KILL 62
#define NR_EXIT_GROUP 231
#define NR_RT_SIGTIMEDWAIT 128
static long call4(long number, long a, long b, long c, long d)
{
    long answer;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(answer) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return answer;
}
__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call run\n");
#elif defined(__aarch64__)
#define NR_WAIT4 260
#define NR_KILL 129
#define NR_EXIT_GROUP 94
#define NR_RT_SIGTIMEDWAIT 137
static long call4(long number, long a, long b, long c, long d)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}
__asm__(".globl _start\n_start: mov x0, sp\n bl run\n");
#endif

#define SIGCHLD 17
#define WNOHANG 1

__attribute__((used, noreturn)) void run(long *stack)
{
    const char *text = ((const char **)(stack + 1))[1];
    long program = 0;
    while (*text >= '0' && *text <= '9')
        program = program * 10 + (*text++ - '0');
    for (;;) {
        unsigned long everything = ~0ul;
        long number = call4(NR_RT_SIGTIMEDWAIT, (long)&everything, 0, 0, sizeof everything);
        if (number > 0 && number != SIGCHLD)
            call4(NR_KILL, program, number, 0, 0);
        /* Also after other answers: children may have ended before we waited for the first time. */
        for (;;) {
            int status = 0;
            long pid = call4(NR_WAIT4, -1, (long)&status, WNOHANG, 0);
            if (pid <= 0)
                break;
            if (pid == program) {
                int code = status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff;
                call4(NR_EXIT_GROUP, code, 0, 0, 0);
            }
        }
    }
}
