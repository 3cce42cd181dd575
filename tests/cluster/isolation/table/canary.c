// What hostile commands do by calls of the system. A static program, so that it runs in an image that has nothing.
// It prints GOT IN where it has succeeded.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define SESSION_KEYRING -3
#define KEYCTL_SEARCH 10
#define KEYCTL_READ 11

static void got_in(int has_succeeded) {
  if (has_succeeded) puts("GOT IN");
}

static void memory(long mebibytes) {
  char *room = malloc(mebibytes << 20);
  if (!room) return;
  for (long at = 0; at < mebibytes << 20; at += 4096) room[at] = 1;
  got_in(room[4096] == 1);
}

static void processes(int number) {
  pid_t *children = calloc(number, sizeof *children);
  int begun = 0;
  for (; begun < number; begun++) {
    children[begun] = fork();
    if (children[begun] < 0) break;
    if (children[begun] == 0) {
      pause();
      _exit(0);
    }
  }
  got_in(begun == number);
  while (begun-- > 0) kill(children[begun], SIGKILL);
}

static void key(const char *secret) {
  char text[100] = {0};
  long found = syscall(SYS_keyctl, KEYCTL_SEARCH, SESSION_KEYRING, "user", "canary", 0);
  syscall(SYS_keyctl, KEYCTL_READ, found, text, sizeof text - 1);
  got_in(strcmp(text, secret) == 0);
}

// A name that begins with @ is an abstract one.
static void local(const char *name) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, name, sizeof address.sun_path - 1);
  socklen_t length = offsetof(struct sockaddr_un, sun_path) + strlen(name);
  if (*name == '@') address.sun_path[0] = 0;
  int to = socket(AF_UNIX, SOCK_STREAM, 0);
  got_in(connect(to, (struct sockaddr *)&address, length) == 0);
}

static void network(const char *host, int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, host, &address.sin_addr);
  int to = socket(AF_INET, SOCK_STREAM, 0);
  got_in(connect(to, (struct sockaddr *)&address, sizeof address) == 0);
}

// Says in place of the first process that a command has succeeded.
static void word(void) {
  for (int number = 3; number < 30; number++) {
    char path[40];
    snprintf(path, sizeof path, "/proc/1/fd/%d", number);
    int to = open(path, O_WRONLY);
    if (to >= 0 && write(to, "E\1\0\0\0\0", 6) < 0) perror(path);
  }
}

int main(int count, char **arguments) {
  const char *what = count > 1 ? arguments[1] : "";
  const char *first = count > 2 ? arguments[2] : "";
  if (!strcmp(what, "memory")) memory(atol(first));
  if (!strcmp(what, "processes")) processes(atoi(first));
  if (!strcmp(what, "key")) key(first);
  if (!strcmp(what, "local")) local(first);
  if (!strcmp(what, "network")) network(first, count > 3 ? atoi(arguments[3]) : 0);
  if (!strcmp(what, "namespaces")) got_in(unshare(CLONE_NEWUSER) == 0);
  if (!strcmp(what, "word")) word();
  return 0;
}
