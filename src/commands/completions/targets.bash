# The targets that ecs-bridge remembers.
_ecs__bridge_with_targets() {
    _ecs__bridge "$@"
    # Words that bash has taken apart at : and = are put together again.
    local words=() word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
        if ((${#words[@]})) && [[ $word == [:=]* || ${words[${#words[@]}-1]} == *[:=] ]]; then
            words[${#words[@]}-1]+=$word
        else
            words+=("$word")
        fi
    done
    local last=$((${#words[@]} - 1))
    local current=${words[last]} command= option= count=0
    for word in "${words[@]:0:last}"; do
        if [[ $option && $word != -* ]]; then
            option=
            continue
        fi
        option=
        case $command:$word in
            @WITH_VALUE@) option=$word ;;
            *:-*) ;;
            :*) command=$word ;;
            *) ((count += 1)) ;;
        esac
    done
    case $command:$current in
        @OPTIONS@)
            option=${current%%=*} current=${current#*=}
            ;;
    esac
    case $command:$option:$count in
        @TARGETS@) ;;
        *) return 0 ;;
    esac
    if [[ $current == -* ]]; then
        return 0
    fi

    local quote= head=
    case $current in
        \"* | \'*) quote=${current:0:1} current=${current:1} ;;
        *)
            current=${current//\\/}
            # Only what stands behind the last break is replaced.
            head=${current%"${current##*["${COMP_WORDBREAKS//[^:=]/}"]}"}
            ;;
    esac
    local found=() target
    while IFS= read -r target; do
        target=${target#"$head"}
        case $quote in
            "'") [[ $target != *\'* ]] || continue ;;
            '"')
                target=${target//\\/\\\\}
                target=${target//\"/\\\"}
                target=${target//\$/\\\$}
                target=${target//\`/\\\`}
                ;;
            *) printf -v target %q "$target" ;;
        esac
        found+=("$target")
    done < <("$1" complete-targets -- "$current" 2>/dev/null)
    if ((${#found[@]})); then
        COMPREPLY=("${found[@]}")
    fi
}

if [[ ${BASH_VERSINFO[0]} -eq 4 && ${BASH_VERSINFO[1]} -ge 4 || ${BASH_VERSINFO[0]} -gt 4 ]]; then
    complete -F _ecs__bridge_with_targets -o nosort -o bashdefault -o default ecs-bridge
else
    complete -F _ecs__bridge_with_targets -o bashdefault -o default ecs-bridge
fi
