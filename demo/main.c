/* main.c: the demo's command line. */
#include <locale.h>
#include <string.h>

#include "job.h"

int main(int argc, char **argv)
{
    (void)setlocale(LC_CTYPE, ""); /* whether the terminal is UTF-8 */
    if (argc >= 3 && strcmp(argv[1], "--headless") == 0 && strcmp(argv[2], "--script") == 0) {
        return job_main(argc - 2, argv + 2);
    }
    return 2;
}
