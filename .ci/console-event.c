/* console-event EVENT PID: sends Ctrl-C (0) or Ctrl-Break (1) to all on the console of a process. */
#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

int main(int count, char **words)
{
    if (count != 3)
        return 2;
    FreeConsole();
    /* Not to ourselves. */
    if (AttachConsole(strtoul(words[2], NULL, 10)) && SetConsoleCtrlHandler(NULL, TRUE) &&
        GenerateConsoleCtrlEvent(strtoul(words[1], NULL, 10), 0))
        return 0;
    fprintf(stderr, "error %lu\n", GetLastError());
    return 1;
}
