# The targets that ecs-bridge remembers.
function __ecs_bridge_targets
    set -l current (commandline -ct | string replace -r '^--[a-z-]+=' '' | string unescape)
    ecs-bridge complete-targets -- "$current" 2>/dev/null
end

# Whether the word that is completed is a target.
function __ecs_bridge_at_target
    set -l words (commandline -opc)
    set -e words[1]
    set -l command ''
    set -l option ''
    set -l count 0
    for word in $words
        if test -n "$option"; and not string match -q -- '-*' $word
            set option ''
            continue
        end
        set option ''
        switch "$command:$word"
            case @QUOTED_WITH_VALUE@
                set option $word
            case '*:-*'
            case ':*'
                set command $word
            case '*'
                set count (math $count + 1)
        end
    end
    switch "$command:$option:$count"
        case @QUOTED_TARGETS@
            return 0
    end
    return 1
end

for command in @COMMANDS@
    complete -c ecs-bridge -n "__fish_ecs_bridge_using_subcommand $command; and __ecs_bridge_at_target" -f -a "(__ecs_bridge_targets)"
end
