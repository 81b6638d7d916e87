"""A thread pool in place of OpenMP's: the text of a program for compilers that lack OpenMP's library.

What such a compiler would pass over is written out. A team of POSIX threads, of which the caller is one, runs the body
of each function that has a parallel region; a shared loop runs from a thread's first turn to its last, and all meet
behind each launch. So each turn is one thread's, as with OpenMP, and any number of threads gives the same bits. The
threads wait for the next call for a while by looking, then asleep.
"""

from __future__ import annotations

import re

DIRECTIVE = re.compile(r"^ *#pragma omp (?!simd\b)", re.MULTILINE)
# A shared loop: its directive, if it is of vectors, and its head.
SHARED = re.compile(
    r"^( *)#pragma omp for( simd)? schedule\(static\)\n"
    r" *for \((?P<type>\w+) (?P<var>\w+) = 0; (?P=var) < (?P<end>.+); (?P=var)(?:\+\+| \+= (?P<step>\w+))\) \{$",
    re.MULTILINE,
)
SINGLE = re.compile(r"^( *)#pragma omp single\n *\{$", re.MULTILINE)
MASTER = re.compile(r"^( *)#pragma omp master\n *\{$", re.MULTILINE)
# The function of a phase, its region, and what stands in front of that.
PHASE = re.compile(
    r"^void (?P<name>\w+)\(void \*const \*memory, int64_t \*nanoseconds, int threads, void \(\*done\)\(int\)\) \{\n"
    r"(?P<before>(?:    .*\n)*?)    #pragma omp parallel num_threads\(threads\)\n    \{\n"
    r"(?P<body>(?:        .*\n)*)    \}\n\}$",
    re.MULTILINE,
)
TEAM = """
/* A team of threads in place of OpenMP's. */
#include <pthread.h>
#include <stdatomic.h>

#define HIDDEN __attribute__((visibility("hidden")))
#if defined(PART) && PART
extern HIDDEN __thread int this_thread, team_size;
HIDDEN void meet(void);
#else
HIDDEN __thread int this_thread, team_size = 1;
enum { LOOKS = 10000 }; /* times that a thread looks for the others before it sleeps: some tens of us */
#if defined(__x86_64__)
#define PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ volatile("yield")
#else
#define PAUSE()
#endif

typedef void part_of_team(void *const *memory, int64_t *nanoseconds, void (*done)(int));

static struct {
    pthread_mutex_t busy, lock; /* of the call that has the team, and of what follows */
    pthread_cond_t changed;
    atomic_int arrived;         /* threads that wait for the others */
    atomic_uint meetings, call; /* how many there were */
    int size, made;             /* threads of the call, and those that were made */
    part_of_team *part;
    void *const *memory;
    int64_t *nanoseconds;
    void (*done)(int);
} team = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER};

/* Wait until a number is another than `seen`. */
static void await_other(atomic_uint *number, unsigned seen) {
    for (int i = 0; i < LOOKS; i++) {
        if (atomic_load_explicit(number, memory_order_acquire) != seen) return;
        PAUSE();
    }
    pthread_mutex_lock(&team.lock);
    while (atomic_load(number) == seen) pthread_cond_wait(&team.changed, &team.lock);
    pthread_mutex_unlock(&team.lock);
}

/* Wait for all threads of the team. */
HIDDEN void meet(void) {
    if (team_size == 1) return;
    const unsigned seen = atomic_load(&team.meetings);
    if (atomic_fetch_add(&team.arrived, 1) + 1 < team_size) {
        await_other(&team.meetings, seen);
        return;
    }
    atomic_store(&team.arrived, 0);
    pthread_mutex_lock(&team.lock);
    atomic_fetch_add(&team.meetings, 1);
    pthread_cond_broadcast(&team.changed);
    pthread_mutex_unlock(&team.lock);
}

/* A thread of the pool: its part of each call whose team it is in. */
static void *work(void *number) {
    this_thread = (int)(intptr_t)number;
    for (unsigned seen = 0;;) {
        await_other(&team.call, seen);
        pthread_mutex_lock(&team.lock);
        seen = atomic_load(&team.call);
        team_size = team.size;
        part_of_team *part = team.part;
        void *const *memory = team.memory;
        int64_t *nanoseconds = team.nanoseconds;
        void (*done)(int) = team.done;
        pthread_mutex_unlock(&team.lock);
        if (this_thread >= team_size) continue;
        part(memory, nanoseconds, done);
        meet();
    }
    return 0;
}

/* Run a function on so many threads, or on as many as there can be. */
static void on_team(
    part_of_team *part, void *const *memory, int64_t *nanoseconds, int threads, void (*done)(int)
) {
    if (threads <= 1) {
        part(memory, nanoseconds, done);
        return;
    }
    pthread_mutex_lock(&team.busy);
    for (pthread_t made; team.made < threads - 1; team.made++) {
        if (pthread_create(&made, 0, work, (void *)(intptr_t)(team.made + 1))) break;
        pthread_detach(made);
    }
    pthread_mutex_lock(&team.lock);
    team_size = team.size = team.made + 1 < threads ? team.made + 1 : threads;
    team.part = part, team.memory = memory, team.nanoseconds = nanoseconds, team.done = done;
    atomic_fetch_add(&team.call, 1);
    pthread_cond_broadcast(&team.changed);
    pthread_mutex_unlock(&team.lock);
    part(memory, nanoseconds, done);
    meet();
    team_size = 1;
    pthread_mutex_unlock(&team.busy);
}
#endif

/* The first of so many turns that a thread of the team has; the next thread's is behind its last. */
static inline int64_t first_turn(int64_t turns, int thread) { return turns * thread / team_size; }
"""


def pooled(source: str) -> str:
    """A program's text with a pool of POSIX threads where it has directives of OpenMP, which must be those it knows."""
    if not DIRECTIVE.search(source):
        return source
    text = SHARED.sub(_turns, source)
    text = SINGLE.sub(r"\1if (!this_thread) {", text)
    text = MASTER.sub(r"\1meet();\n\1if (!this_thread) {", text)
    text = PHASE.sub(_phase, text)
    if left := DIRECTIVE.search(text):
        raise AssertionError(f"no way to write {text[left.start() :].splitlines()[0].strip()!r} without OpenMP")
    head, last, rest = text.partition("#include <time.h>\n")
    return f"{head}{last}{TEAM}{rest}"


def _turns(found: re.Match[str]) -> str:
    """A thread's turns of a shared loop."""
    indent, simd, kind, var, end, step = found[1], found[2], found["type"], found["var"], found["end"], found["step"]
    turns = f"{end}" if step is None else f"(({end}) + {step} - 1) / {step}"
    by = "" if step is None else f" * {step}"
    last = "own" if step is None else f"own < ({end}) ? own : ({end})"
    lines = [
        f"const int64_t turns = {turns}, own = first_turn(turns, this_thread + 1){by};",
        f"const {kind} from = first_turn(turns, this_thread){by}, to = {last};",
        *(["#pragma omp simd"] if simd else []),
        f"for ({kind} {var} = from; {var} < to; {var}{'++' if step is None else f' += {step}'}) {{",
    ]
    return "\n".join(indent + line for line in lines)


def _phase(found: re.Match[str]) -> str:
    """A phase as a function for each thread of the team, and one that calls the team."""
    name, body = found["name"], re.sub(r"^    ", "", found["body"], flags=re.MULTILINE)
    takes = "void *const *memory, int64_t *nanoseconds"
    return (
        f"static void {name}_part({takes}, void (*done)(int)) {{\n{found['before']}{body}}}\n\n"
        f"void {name}({takes}, int threads, void (*done)(int)) {{\n"
        f"    on_team({name}_part, memory, nanoseconds, threads, done);\n}}"
    )
