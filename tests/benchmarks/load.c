/* Load generator: replays pre-signed, unique notifications over keep-alive connections to a server on loopback.
 *
 * Usage: load PORT FILE CONNECTIONS WARMUP SECONDS RATE
 *
 * RATE 0 is a closed loop: each connection sends its next request when it has its answer. Any other RATE is an open
 * loop: so many requests a second are due whatever the server does, and a latency counts from the moment at which
 * the request was due, so that a server which stalls is charged for everybody who had to wait.
 *
 * All requests of a FILE are one text but for the signature and the id, so the file is (little-endian, 32 bits each)
 *     length of the text, offset and length of the signature in it, offset and length of the id, number of requests
 * then the text, then for each request its signature and its id. Writes one line of JSON.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define GRACE (30 * SECOND) /* for the last answers */

struct connection {
    int fd;
    int busy, complete;
    char *request;
    size_t sent;
    char answer[4096];
    size_t received;
    int64_t since; /* when the request was sent, or was due */
};

static struct { uint32_t length, signature_at, signature_length, id_at, id_length, count; } shape;
static const char *text, *records;
static uint32_t next_record;
static uint64_t answered, measured, statuses[1000];
static uint32_t *latencies; /* microseconds, of the measured */
static int open_loop;
static int64_t measure_from, measure_until, latest_sending;

static void fail(const char *what) {
    fprintf(stderr, "load: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

static void read_notifications(const char *path) {
    struct stat status;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &status) < 0) fail(path);
    const char *file = mmap(NULL, status.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (file == MAP_FAILED) fail("mmap");
    memcpy(&shape, file, sizeof shape);
    text = file + sizeof shape;
    records = text + shape.length;
    uint64_t record = shape.signature_length + shape.id_length;
    if ((uint64_t)status.st_size != sizeof shape + shape.length + record * shape.count) fail("the file is damaged");
    latencies = malloc(sizeof *latencies * (shape.count + 1ULL));
}

static void write_request(struct connection *connection) {
    while (connection->sent < shape.length) {
        ssize_t size = send(connection->fd, connection->request + connection->sent, shape.length - connection->sent,
                            MSG_NOSIGNAL);
        if (size < 0) {
            if (errno == EAGAIN) return; /* goes on when there is room */
            fail("send");
        }
        connection->sent += size;
    }
}

static void begin_request(struct connection *connection, int64_t since) {
    const char *record = records + (uint64_t)next_record++ * (shape.signature_length + shape.id_length);
    memcpy(connection->request + shape.signature_at, record, shape.signature_length);
    memcpy(connection->request + shape.id_at, record + shape.signature_length, shape.id_length);
    connection->sent = connection->received = 0;
    connection->busy = 1;
    connection->complete = 0;
    connection->since = since;
    write_request(connection);
}

/* Whether the answer is complete; one that this program cannot read ends it. */
static int is_complete(struct connection *connection) {
    connection->answer[connection->received] = 0;
    char *end = strstr(connection->answer, "\r\n\r\n");
    if (!end) return 0;
    char *length = strcasestr(connection->answer, "\r\ncontent-length:");
    if (!length || length > end) fail("an answer without Content-Length");
    return connection->received >= end + 4 - connection->answer + strtoul(length + 17, NULL, 10);
}

static void note(struct connection *connection) {
    int64_t moment = now(), decisive = open_loop ? connection->since : moment;
    int status = atoi(connection->answer + 9);
    statuses[status > 0 && status < 1000 ? status : 0]++;
    answered++;
    if (decisive >= measure_from && decisive < measure_until)
        latencies[measured++] = (moment - connection->since) / 1000;
}

/* Read what has come of the answer. */
static void read_answer(struct connection *connection) {
    while (!connection->complete) {
        size_t room = sizeof connection->answer - 1 - connection->received;
        if (!room) fail("an answer that is too long");
        ssize_t size = recv(connection->fd, connection->answer + connection->received, room, 0);
        if (size == 0) fail("the server closed a connection");
        if (size < 0) {
            if (errno == EAGAIN) return;
            fail("recv");
        }
        connection->received += size;
        connection->complete = is_complete(connection);
        if (connection->complete) note(connection);
    }
}

static struct connection *connect_all(int port, int count, int poll) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct connection *connections = calloc(count, sizeof *connections);
    for (int index = 0; index < count; index++) {
        struct connection *connection = &connections[index];
        int on = 1;
        connection->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connection->fd < 0 || connect(connection->fd, (void *)&address, sizeof address) < 0) fail("connect");
        setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        fcntl(connection->fd, F_SETFL, O_NONBLOCK);
        connection->request = malloc(shape.length);
        memcpy(connection->request, text, shape.length);
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = connection};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, connection->fd, &event) < 0) fail("epoll_ctl");
    }
    return connections;
}

static int compare(const void *one, const void *other) {
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

static uint32_t percentile(double share) {
    return measured ? latencies[(uint64_t)(share * (measured - 1) + 0.5)] : 0;
}

static void report(double seconds, int exhausted) {
    qsort(latencies, measured, sizeof *latencies, compare);
    printf("{\"answered\": %lu, \"measured\": %lu, \"seconds\": %.6f, \"exhausted\": %s, \"latest_sending_us\": %ld, ",
           answered, measured, seconds, exhausted ? "true" : "false", latest_sending / 1000);
    printf("\"statuses\": {");
    const char *separator = "";
    for (int status = 0; status < 1000; status++)
        if (statuses[status]) {
            printf("%s\"%d\": %lu", separator, status, statuses[status]);
            separator = ", ";
        }
    printf("}, \"latency_us\": {\"p50\": %u, \"p90\": %u, \"p99\": %u, \"p999\": %u, \"max\": %u}}\n",
           percentile(.5), percentile(.9), percentile(.99), percentile(.999), percentile(1));
}

int main(int argc, char **argv) {
    if (argc != 7) fail("usage: load PORT FILE CONNECTIONS WARMUP SECONDS RATE");
    int count = atoi(argv[3]);
    double warmup = atof(argv[4]), seconds = atof(argv[5]), rate = atof(argv[6]);
    read_notifications(argv[2]);
    int poll = epoll_create1(0), timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct connection *connections = connect_all(atoi(argv[1]), count, poll);
    struct connection **idle = malloc(sizeof *idle * count);
    int idle_count = count, next_idle = 0; /* in turn: a server closes a connection that is idle for seconds */
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL}, events[256];
    epoll_ctl(poll, EPOLL_CTL_ADD, timer, &event);
    for (int index = 0; index < count; index++) idle[index] = &connections[index];

    int64_t began = now(), end = began + (int64_t)((warmup + seconds) * SECOND);
    measure_from = began + (int64_t)(warmup * SECOND);
    measure_until = end;
    open_loop = rate > 0;
    uint64_t due_count = 0;
    int exhausted = 0;
    for (;;) {
        int64_t moment = now();
        int64_t due = open_loop ? began + (int64_t)(due_count * (SECOND / rate)) : moment;
        while (idle_count && due <= moment && due < end && !exhausted) {
            if (next_record == shape.count) {
                exhausted = 1;
                break;
            }
            if (moment - due > latest_sending) latest_sending = moment - due;
            begin_request(idle[next_idle], due);
            next_idle = (next_idle + 1) % count;
            idle_count--;
            due_count++;
            moment = now();
            due = open_loop ? began + (int64_t)(due_count * (SECOND / rate)) : moment;
        }
        if ((due >= end || exhausted) && idle_count == count) break;
        if (moment > end + GRACE) fail("answers are missing");
        if (open_loop && idle_count && due > moment && due < end) {
            struct itimerspec at = {.it_value = {due / SECOND, due % SECOND}};
            timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
        }
        int ready = epoll_wait(poll, events, 256, 100);
        for (int index = 0; index < ready; index++) {
            struct connection *connection = events[index].data.ptr;
            if (!connection || !connection->busy) continue; /* the timer: something is due */
            if (events[index].events & EPOLLOUT) write_request(connection);
            if (events[index].events & EPOLLIN) read_answer(connection);
            /* A server may answer before it has read the body, which still has to be sent. */
            if (connection->complete && connection->sent == shape.length) {
                connection->busy = 0;
                idle[(next_idle + idle_count++) % count] = connection;
            }
        }
    }
    report(open_loop ? (now() - measure_from) / (double)SECOND : seconds, exhausted);
    return 0;
}
