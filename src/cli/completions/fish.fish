# fish completion of __VERSION__, made by: run-comfyui-e2e --completions fish
# As ~/.config/fish/completions/run-comfyui-e2e.fish
function __run_comfyui_e2e_verb
    set -l words (commandline -opc)
    # Behind -- there are no options.
    contains -- -- $words; and return 1
    set -l verb run
    contains -- "$words[2]" __VERB_WORDS__; and set verb $words[2]
    contains -- $verb $argv
end
function __run_comfyui_e2e_command
    set -l words (commandline -opc)
    test "$words[2]" = monitor; and test "$words[-1]" = --
end
complete -c run-comfyui-e2e -n 'test (count (commandline -opc)) -eq 1' -a '__VERB_WORDS__'
complete -c run-comfyui-e2e -n __run_comfyui_e2e_command -xa '(complete -C (commandline -ct))'
__OPTIONS__
