# bash completion of __VERSION__, made by: run-comfyui-e2e --completions bash
# In ~/.bashrc: eval "$(run-comfyui-e2e --completions bash)"
_run_comfyui_e2e() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    local verb=run options words= i
    COMPREPLY=()
    # bash takes --name=value apart.
    if [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = && COMP_CWORD -gt 2 ]]; then
        prev=${COMP_WORDS[COMP_CWORD-2]}
    fi
    if ((COMP_CWORD > 1)); then
        case ${COMP_WORDS[1]} in
            __VERBS__) verb=${COMP_WORDS[1]} ;;
        esac
    fi
    # Behind -- there are no options: what is not answered here becomes a file's name.
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} == -- ]]; then
            if [[ $verb == monitor ]] && ((i + 1 == COMP_CWORD)); then
                mapfile -t COMPREPLY < <(compgen -c -- "$cur")
            fi
            return
        fi
    done
    case $prev in
        __FILES__) return ;;
        __FOLDERS__)
            mapfile -t COMPREPLY < <(compgen -d -- "$cur")
            compopt -o filenames 2>/dev/null
            return ;;
        # A number or a text: no file's name either.
        __OTHERS__)
            compopt +o default 2>/dev/null
            return ;;
__WORDS__
    esac
    if [[ $words ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
        return
    fi
    if [[ $cur == -* ]]; then
        case $verb in
__OPTIONS__
        esac
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
    elif ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W "__VERB_WORDS__" -- "$cur")
        if ((${#COMPREPLY[@]})); then
            mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$cur")
            compopt -o filenames 2>/dev/null
        fi
    fi
}
complete -o default -F _run_comfyui_e2e run-comfyui-e2e
