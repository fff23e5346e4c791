"""`imagesmith completion bash|zsh|fish`: what a shell loads to complete command lines of imagesmith.

Why the scripts are short: they hand the line over and take words back (completing.py). They call `imagesmith`
as PATH has it, not what stands on the line: Tab after `./imagesmith` must run nothing of somebody's checkout.
Trust: words are harmless by themselves, and each shell quotes them besides. What goes wrong is not said.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys

from imagesmith.cli.completing import completions

__all__ = ["SCRIPTS", "configure", "run"]

#: How long (seconds) somebody's files may keep a Tab waiting.
_MOST_S = 5

_BASH = r"""# bash completion of imagesmith: source <(imagesmith completion bash)
_imagesmith() {
    local line=${COMP_LINE:0:COMP_POINT} breaks='' head='' word answer=()
    mapfile -t answer < <(command imagesmith completion bash -- "$line" 2>/dev/null)
    # readline replaces what follows the last of its breaks in a word
    [[ $COMP_WORDBREAKS == *=* ]] && breaks+='='
    [[ $COMP_WORDBREAKS == *:* ]] && breaks+=':'
    word=${line##*[[:blank:]]}
    [[ -n $breaks ]] && head=${word%"${word##*["$breaks"]}"}
    COMPREPLY=()
    case ${answer[0]-} in
        files) compopt -o default 2>/dev/null ;;
        dirs) compopt -o dirnames 2>/dev/null ;;
    esac
    for word in "${answer[@]:1}"; do
        word=${word%%$'\t'*}
        printf -v word %q "${word#"$head"}"
        COMPREPLY+=("$word")
    done
}
complete -F _imagesmith imagesmith
"""

_ZSH = r"""#compdef imagesmith
# zsh completion of imagesmith: source <(imagesmith completion zsh), or a file _imagesmith in fpath
_imagesmith() {
    local -a answer values shown
    local line
    values=("${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}")
    answer=("${(@f)$(command imagesmith completion zsh -- "${(@)values}" 2>/dev/null)}")
    values=()
    for line in "${(@)answer[2,-1]}"; do
        values+=("${line%%$'\t'*}")
        shown+=("${line/$'\t'/  -- }")
    done
    case ${answer[1]} in
        files) compset -P '--*='; _files ;;
        dirs) compset -P '--*='; _files -/ ;;
        *) (( $#values )) && compadd -l -d shown -a values ;;
    esac
}
if [[ ${funcstack[1]} == _imagesmith ]]; then
    _imagesmith "$@"
else
    compdef _imagesmith imagesmith
fi
"""

_FISH = r"""# fish completion of imagesmith: imagesmith completion fish | source
function __imagesmith_complete
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    set -l answer (command imagesmith completion fish -- $words[2..-1] "$word" 2>/dev/null)
    set -l flag (string match -r -- '^--[^=]*=' "$word")
    set -l rest (string replace -r -- '^--[^=]*=' '' "$word")
    switch "$answer[1]"
        case files
            string replace -r -- '^' "$flag" (__fish_complete_path "$rest")
        case dirs
            string replace -r -- '^' "$flag" (__fish_complete_directories "$rest" '')
        case '*'
            string join -- \n $answer[2..-1]
    end
end
complete -c imagesmith -f -a '(__imagesmith_complete)'
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("shell", choices=tuple(SCRIPTS), help="print the script of this shell")
    parser.add_argument(
        "words", nargs=argparse.REMAINDER, metavar="-- WORDS",
        help="answer, as the script asks, what the last of these may be",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Print a script, or an answer: first a line `words`, `files` or `dirs`, then a line for each word."""
    if not args.words:
        sys.stdout.write(SCRIPTS[args.shell])
        return 0
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    signal.alarm(_MOST_S)
    words = args.words[1:] if args.words[:1] == ["--"] else args.words
    try:
        answer = completions(_split(words[0]) if args.shell == "bash" and words else words)
    except Exception:  # a Tab is no question that an error would answer
        return 0
    lines = [answer.paths or "words", *(f"{word}\t{text}" for word, text in answer.words)]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


def _split(line: str) -> list[str]:
    """The words of a line after the first; the last is empty where none has begun."""
    for end in ("", '"', "'"):
        try:
            words = shlex.split(line + end)[1:]
        except ValueError:
            continue
        return [*words, ""] if not words or (line[-1:].isspace() and not end) else words
    return [""]
