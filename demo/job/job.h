/* job.h: the main job, which tests what the demo shows. */
#ifndef AEE_DEMO_JOB_H
#define AEE_DEMO_JOB_H

/* As main(): argv[0] is left out of account. */
int job_main(int argc, char **argv);

#endif
