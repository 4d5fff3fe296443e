/*
 * cgroup_try CPUS MEMS [required | abandon] -- COMMAND...: runs COMMAND in a cgroup of src/harness/cgroup.h, as the parent of a VM process
 * would. Prints the note, if there is one, to stderr. "-" asks for no limit; "abandon" waits for a line on standard input instead of for
 * COMMAND and dies of SIGKILL then, so that the cgroup and COMMAND stay. Exit status: COMMAND's, 116 for the error of "required".
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/cgroup.h"

static int parse_set(const char *text, struct id_set *ret)
{
	*ret = (struct id_set){ 0 };
	return strcmp(text, "-") == 0 ? 0 : id_set_parse(text, ret);
}

static int run(const struct cgroup *c, char **command)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		if (cgroup_enter(c) < 0)
			_exit(125);
		execvp(command[0], command);
		_exit(127);
	}
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 126;
}

static void abandon(const struct cgroup *c, char **command)
{
	char line[8];

	if (fork() == 0)
		_exit(run(c, command));
	(void)fgets(line, sizeof(line), stdin); /* its end will do, too */
	(void)raise(SIGKILL);
}

int main(int argc, char **argv)
{
	struct id_set cpus, mems;
	struct cgroup c;
	struct error err;
	int at = 3;

	if (argc < 5 || parse_set(argv[1], &cpus) < 0 || parse_set(argv[2], &mems) < 0)
		return 64;
	const char *mode = strcmp(argv[at], "--") == 0 ? "" : argv[at++];
	const struct cgroup_request r = { .cpus = &cpus,
					  .mems = &mems,
					  .is_required = strcmp(mode, "required") == 0 };
	if (cgroup_open(&c, &r, 1, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 116;
	}
	if (c.note[0])
		fprintf(stderr, "%s\n", c.note);
	if (strcmp(mode, "abandon") == 0)
		abandon(&c, argv + at + 1);
	int status = run(&c, argv + at + 1);
	return cgroup_close(&c, 5000) ? status : 124;
}
