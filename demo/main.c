/* main.c: which demo it is to be. Exit codes: 0; 1 after a sentence on stderr; 2 wrong command
 * line; 77 something that it needs is not there. */
#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#ifdef AEE_DEMO_VISUAL
#include "game.h"
#endif
#include "job/job.h"

static int show(int argc, char **argv)
{
#ifdef AEE_DEMO_VISUAL
    static struct game game;
    const int status = options_parse(&game.options, argc, argv);
    return status >= 0 ? status : game_run(&game);
#else
    (void)argc, (void)argv;
    (void)fputs("aee-demo: built without SDL2, SDL2_ttf or libpng: only its main job is here "
                "(--headless --script)\n",
                stderr);
    return 77;
#endif
}

int main(int argc, char **argv)
{
    (void)setlocale(LC_CTYPE, ""); /* whether the terminal is UTF-8 */
    const bool job = argc >= 3 && strcmp(argv[1], "--headless") == 0 &&
                     strcmp(argv[2], "--script") == 0 && (argc == 3 || argv[3][0] == '-');
    return job ? job_main(argc - 2, argv + 2) : show(argc, argv);
}
