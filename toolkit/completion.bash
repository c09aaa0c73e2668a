# Completion of `imagenot` in bash and zsh: verbs, sources, options, studies, datasets. Printed by `imagenot completion`.
[ -z "${ZSH_VERSION:-}" ] || { autoload -U +X compinit bashcompinit && compinit -u && bashcompinit; }

_imagenot() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} module=1 words
    [ "${COMP_WORDS[1]}" != data ] || module=2
    if [ "$COMP_CWORD" = 1 ]; then
        words='VERBS data completion'
    elif [ "$COMP_CWORD" = 2 ] && [ "$module" = 2 ]; then
        words='SOURCES'
    elif [[ $current == -* ]]; then # what the verb's own help names
        words=$(imagenot "${COMP_WORDS[@]:1:module}" --help 2>/dev/null | grep -oE -- '(^|[ [,])--[a-z][a-z-]*' | tr -d ' [,')
    elif [[ $before == --dataset || $module == 2 ]]; then
        words=$(find "${TOOLKIT_DATA:-data}" -mindepth 2 -maxdepth 2 -name dataset.json -printf '%h\n' 2>/dev/null | sed 's|.*/||')
    else
        words=$(find runs -mindepth 1 -maxdepth 1 -type d -printf '%f\n' 2>/dev/null)
    fi
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _imagenot imagenot
