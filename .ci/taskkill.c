/* taskkill /T /F /PID n for a Wine whose own knows no /T: ends a process and all that it started. */
#include <stdlib.h>
#include <string.h>
#include <windows.h>
#include <tlhelp32.h>

#define MOST 4096

static PROCESSENTRY32 all[MOST];
static int count;

static BOOL end(DWORD id)
{
    HANDLE process = OpenProcess(PROCESS_TERMINATE, FALSE, id);
    BOOL ended = process && TerminateProcess(process, 1);
    for (int i = 0; i < count; i++)
        if (all[i].th32ParentProcessID == id && all[i].th32ProcessID != id)
            end(all[i].th32ProcessID);
    return ended;
}

int main(int words, char **word)
{
    if (words != 5 || strcmp(word[1], "/T") || strcmp(word[2], "/F") || strcmp(word[3], "/PID"))
        return 1;
    HANDLE list = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0);
    all[0].dwSize = sizeof all[0];
    BOOL more = Process32First(list, &all[0]);
    while (more && count < MOST - 1) {
        all[++count].dwSize = sizeof all[0];
        more = Process32Next(list, &all[count]);
    }
    return end(strtoul(word[4], NULL, 10)) ? 0 : 128;
}
