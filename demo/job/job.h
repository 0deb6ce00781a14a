/* job.h: the main job, which tests what the demo shows. */
#ifndef AEE_DEMO_JOB_H
#define AEE_DEMO_JOB_H

/* As main(): argv[0] is left out of account. */
int job_main(int argc, char **argv);

/* Text from a component must not steer a terminal: what is not printable ASCII becomes '?'. */
void demo_make_printable(char *text);

#endif
