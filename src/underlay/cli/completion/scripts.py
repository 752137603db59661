"""The scripts by which bash, zsh and fish ask for candidates, and where they look for them."""

from __future__ import annotations

import os

BASH = """# Completion of underlay for bash. Written by: underlay completion bash
_underlay() {
    local line word more= IFS=$'\\n' words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    # bash takes : and = for ends of words; underlay does not.
    if declare -F _get_comp_words_by_ref >/dev/null; then
        local cur
        _get_comp_words_by_ref -n := -w words -c cur
        words=("${words[@]:1:COMP_CWORD}")
    fi
    COMPREPLY=()
    while read -r line; do
        case $line in
            :*) more=${line#:} ;;
            *) COMPREPLY+=("${line%%$'\\t'*}") ;;
        esac
    done < <(underlay __complete "${words[@]}" 2>/dev/null)
    case $more in
        files) compopt -o default ;;
        directories) compopt -o dirnames ;;
    esac
    case ${COMPREPLY[0]} in *: | *=) compopt -o nospace ;; esac
    if declare -F __ltrimcolon_completions >/dev/null; then
        __ltrimcolon_completions "${cur-${words[-1]}}"
    fi
}
complete -F _underlay underlay
"""

ZSH = """#compdef underlay
# Completion of underlay for zsh. Written by: underlay completion zsh
_underlay() {
    local line more=
    local -a found
    for line in "${(@f)$(underlay __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        case $line in
            :*) more=${line#:} ;;
            *$'\\t'*) found+=("${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}") ;;
            ?*) found+=("${line//:/\\\\:}") ;;
        esac
    done
    (( $#found )) && _describe -V underlay found
    case $more in
        files) _files ;;
        directories) _files -/ ;;
    esac
}
if [ "$funcstack[1]" = "_underlay" ]; then
    _underlay "$@"
else
    compdef _underlay underlay
fi
"""

FISH = """# Completion of underlay for fish. Written by: underlay completion fish
function __underlay_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in (underlay __complete $words[2..] 2>/dev/null)
        switch $line
            case ':files'
                __fish_complete_path (commandline -ct)
            case ':directories'
                __fish_complete_directories (commandline -ct)
            case ':*'
            case '*'
                echo $line
        end
    end
end
complete -c underlay -f -a '(__underlay_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def place(shell: str) -> str:
    """Return the file in which a shell finds the script by itself: root's for everybody, else the user's own."""
    if os.geteuid() == 0:
        return {
            "bash": "/usr/local/share/bash-completion/completions/underlay",
            "zsh": "/usr/local/share/zsh/site-functions/_underlay",
            "fish": "/etc/fish/completions/underlay.fish",
        }[shell]
    home = os.path.expanduser("~")
    data = os.environ.get("XDG_DATA_HOME") or f"{home}/.local/share"
    config = os.environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    return {
        "bash": f"{data}/bash-completion/completions/underlay",
        "zsh": f"{data}/zsh/site-functions/_underlay",
        "fish": f"{config}/fish/completions/underlay.fish",
    }[shell]
