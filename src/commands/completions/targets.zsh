# The targets that ecs-bridge remembers.
_ecs-bridge_targets() {
    local -a found
    found=("${(@f)$(ecs-bridge complete-targets -- "${(Q)PREFIX}" 2>/dev/null)}")
    found=("${(@)found:#}")
    if ((${#found})); then
        local expl
        _wanted targets expl target compadd -a found
    else
        _message target
    fi
}
