#include <stdio.h>
#include <string.h>

#include <aee_virt.h>

int main(void)
{
    if (strcmp(aee_version(), AEE_VERSION_STRING) != 0) {
        fprintf(stderr, "header %s, library %s\n", AEE_VERSION_STRING, aee_version());
        return 1;
    }
    printf("%s\n", aee_version());
    return 0;
}
