/* The last step before a container's program: makes a list of system calls, the last of which becomes the program.

   The list lies behind this code in the same sealed file (runtime/apply/laststep.py makes both one ELF file): what runs here
   names no file of the host, needs no C library and can be looked at by anyone. tools/make_last_step.py compiles it and
   writes the bytes into runtime/apply/last_step_program.py. */

#if defined(__x86_64__)
#define NR_WRITE 1
#define NR_CLONE 56
#define NR_WAIT4 61
#define NR_KILL 62
#define NR_RT_SIGTIMEDWAIT 128
#define NR_EXIT_GROUP 231
static long call6(long number, long a, long b, long c, long d, long e, long f)
{
    long answer;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(answer)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return answer;
}
__asm__(".globl _start\n_start: and $-16, %rsp\n call run\n");
#elif defined(__aarch64__)
#define NR_WRITE 64
#define NR_CLONE 220
#define NR_WAIT4 260
#define NR_KILL 129
#define NR_RT_SIGTIMEDWAIT 137
#define NR_EXIT_GROUP 94
static long call6(long number, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
__asm__(".globl _start\n_start: bl run\n");
#endif

#define SIGCHLD 17
#define WNOHANG 1
#define EBADF 9
#define SLOTS 256       /* answers that are kept */
#define LONGEST 7168    /* of a failure's text */

enum { VALUE, ANSWER, ADDRESS };        /* what an argument is: itself, an answer, the address of an answer */
enum { FAIL = -1, REAP = -2 };          /* instead of a system call's number */

struct call {
    long number;
    long arguments[6];
    long modes;         /* two bits an argument; bit 12: an answer of 0 ends us quietly */
    long errnos;        /* errors that are none here, a byte each */
    long parent;        /* made only by the parent of a fork; all others are made by its child, or when there is none */
    long slot;          /* where the answer is kept */
    const char *text;   /* what is told on failure, without the error's number and the last bracket */
    long length;
};

struct list {
    long count, channel;
    const struct call *calls;
};

/* Where laststep.py puts the list: one page behind the beginning of the file. */
#define LIST ((const struct list *)0x401000)

static void end(long code)
{
    for (;;)
        call6(NR_EXIT_GROUP, code, 0, 0, 0, 0, 0);
}

static void fail(const struct call *call, long number)
{
    char message[LONGEST + 8];
    long length = 0, digit = 1000;
    for (; length < call->length && length < LONGEST; length++)
        message[length] = call->text[length];
    for (; digit; digit /= 10)
        if (number >= digit || digit == 1)
            message[length++] = '0' + number / digit % 10;
    message[length++] = '}';
    /* Nobody is there to be told when the program turned out to be this one: its path led to /proc/self/exe. */
    end(call6(NR_WRITE, LIST->channel, (long)message, length, 0, 0, 0) == -EBADF ? 126 : 125);
}

/* Process 1 of a container started with --init: waits for all, passes signals to the program, ends as it ends. */
static void reap(long program)
{
    for (;;) {
        unsigned long everything = ~0ul;
        long number = call6(NR_RT_SIGTIMEDWAIT, (long)&everything, 0, 0, sizeof everything, 0, 0);
        if (number > 0 && number != SIGCHLD)
            call6(NR_KILL, program, number, 0, 0, 0, 0);
        /* Also after other answers: children may have ended before we waited for the first time. */
        for (;;) {
            int status = 0;
            long pid = call6(NR_WAIT4, -1, (long)&status, WNOHANG, 0, 0, 0);
            if (pid <= 0)
                break;
            if (pid == program)
                end(status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff);
        }
    }
}

__attribute__((used, noreturn)) void run(void)
{
    long answers[SLOTS];
    long parent = 0;
    const struct call *call = LIST->calls, *last = call + LIST->count;
    for (; call < last; call++) {
        long a[6], answer, index, errnos;
        if (call->parent != parent)
            continue;
        for (index = 0; index < 6; index++) {
            long mode = call->modes >> 2 * index & 3, value = call->arguments[index];
            a[index] = mode == ANSWER ? answers[value] : mode == ADDRESS ? (long)&answers[value] : value;
        }
        if (call->number == FAIL)
            fail(call, a[0]);
        if (call->number == REAP)
            reap(a[0]);
        answer = call6(call->number, a[0], a[1], a[2], a[3], a[4], a[5]);
        if (answer < 0 && answer > -4096) {
            for (errnos = call->errnos; errnos; errnos >>= 8)
                if ((errnos & 0xff) == -answer)
                    break;
            if (!errnos)
                fail(call, -answer);
        }
        if (answer == 0 && call->modes >> 12 & 1)
            end(125);
        /* An answer that is asked for by its address is left alone: the call itself has written there. */
        if (call->slot >= 0)
            answers[call->slot] = answer;
        if (call->number == NR_CLONE && answer > 0)
            parent = 1;
    }
    end(125);
    __builtin_unreachable();
}
