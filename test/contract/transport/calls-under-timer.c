/*
 * Calls that a program makes while a timer sends it a signal every millisecond, with a handler that restarts calls:
 *
 *   calls-under-timer changes DIRECTORY ROUNDS SIGNAL   makes, writes, renames, reads, lists and removes a file in each round
 *   calls-under-timer reads DIRECTORY ROUNDS SIGNAL     looks up, reads, maps and lists in each round
 *
 * Prints each call that failed, then how many calls and signals there were.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t signals;
static long calls;

static void count(int number) { (void)number; signals++; }

/* Passes a result on. */
static long check(const char *call, long result) {
  calls++;
  if (result < 0) printf("%s %s\n", call, strerror(errno));
  return result;
}

static void list(const char *directory, const char *name) {
  DIR *open = opendir(directory);
  int found = 0;
  check("opendir", open ? 0 : -1);
  if (!open) return;
  for (;;) {
    errno = 0;
    struct dirent *entry = readdir(open);
    if (!entry) {
      check("readdir", errno ? -1 : 0);
      break;
    }
    if (!strcmp(entry->d_name, name)) found++;
  }
  if (found != 1) printf("readdir has %s %d times\n", name, found);
  closedir(open);
}

static void read_from(const char *path, int flags) {
  static char buffer[4096] __attribute__((aligned(4096)));
  int fd = check("open", open(path, O_RDONLY | flags));
  if (fd < 0) return;
  long length = check("read", read(fd, buffer, sizeof buffer));
  if (length != 4 || memcmp(buffer, "some", 4)) printf("read has %ld bytes\n", length);
  check("close", close(fd));
}

/* Without an answer to the page fault the program would end with SIGBUS. */
static void map(const char *path) {
  int fd = check("open", open(path, O_RDONLY));
  if (fd < 0) return;
  char *content = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
  check("mmap", content == MAP_FAILED ? -1 : 0);
  if (content == MAP_FAILED) return;
  if (memcmp(content, "some", 4)) printf("mmap has something else\n");
  munmap(content, 4096);
  check("close", close(fd));
}

static void change(const char *directory, long round) {
  char path[4096], other[4096], name[64];
  struct stat status;
  snprintf(name, sizeof name, "renamed-%ld", round);
  snprintf(path, sizeof path, "%s/made-%ld", directory, round);
  snprintf(other, sizeof other, "%s/%s", directory, name);
  int fd = check("create", open(path, O_WRONLY | O_CREAT | O_EXCL, 0644));
  if (fd < 0) return;
  if (check("write", write(fd, "some", 4)) != 4) printf("write is short\n");
  check("close", close(fd));
  check("rename", rename(path, other));
  check("stat", stat(other, &status));
  read_from(other, 0);
  list(directory, name);
  check("unlink", unlink(other));
}

static void look(const char *directory, long round) {
  char path[4096], name[64];
  struct stat status;
  snprintf(name, sizeof name, "file-%ld", round % 10);
  snprintf(path, sizeof path, "%s/%s", directory, name);
  check("stat", stat(path, &status));
  read_from(path, 0);
  read_from(path, O_DIRECT);
  map(path);
  list(directory, name);
}

int main(int count_of, char **values) {
  if (count_of != 5) return 2;
  int number = atoi(values[4]);
  struct sigaction action = {.sa_handler = count, .sa_flags = SA_RESTART};
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = number};
  struct itimerspec each = {{0, 1000000}, {0, 1000000}};
  timer_t timer;
  if (sigaction(number, &action, NULL) || timer_create(CLOCK_MONOTONIC, &event, &timer)) return 3;
  timer_settime(timer, 0, &each, NULL);
  long rounds = atol(values[3]);
  for (long round = 0; round < rounds; round++) {
    if (!strcmp(values[1], "changes")) change(values[2], round);
    else look(values[2], round);
  }
  printf("%ld calls, %s signals\n", calls, signals > 0 ? "some" : "no");
  return 0;
}
