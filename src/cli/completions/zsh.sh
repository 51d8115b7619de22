#compdef run-comfyui-e2e
# zsh completion of __VERSION__, made by: run-comfyui-e2e --completions zsh
# As the file _run-comfyui-e2e in a folder of $fpath, or in ~/.zshrc behind compinit:
# eval "$(run-comfyui-e2e --completions zsh)"
_run-comfyui-e2e() {
    local verb=run behind=${words[(i)--]}
    local -a options
    case ${words[2]} in
        __VERBS__) verb=${words[2]} ;;
    esac
    # Behind -- there are no options: a command of monitor, or files.
    if ((behind < CURRENT)); then
        if [[ $verb == monitor ]]; then
            shift $behind words
            ((CURRENT -= behind))
            _normal
        else
            _files
        fi
        return
    fi
    case $verb in
__OPTIONS__
    esac
    if [[ $verb == run ]]; then
        _arguments $options '1: :_alternative "verbs:verb:(__VERB_WORDS__)" "files:file:_files"' '*:file:_files'
    else
        _arguments $options '1: :' '*:file:_files'
    fi
}
if [[ ${funcstack[1]} == _run-comfyui-e2e ]]; then
    _run-comfyui-e2e "$@"
else
    compdef _run-comfyui-e2e run-comfyui-e2e
fi
