"""The ways through machine code: its loops, the shortest way around one, the way through unrolled code."""

from __future__ import annotations

from collections import deque

from tools.cuda_check.sass import Instruction, is_exponential


def successors(code: list[Instruction]) -> list[list[int]]:
    """Where each instruction may go on. Calls return, and warps are taken to be converged: BRA.DIV, the way of those
    that are not, leads to copies of the shuffles around it that hardly ever run."""
    index = {instruction.address: i for i, instruction in enumerate(code)}
    result = []
    for i, (_, guarded, opcode, operands) in enumerate(code):
        kind, *modifiers = opcode.split(".")
        jumps = kind == "BRA" and "DIV" not in modifiers
        ends = kind in ("EXIT", "RET") or (jumps and "," not in operands)
        target = index.get(int(operands.split(",")[-1], 16)) if jumps else None
        following = i + 1 if (guarded or not ends) and i + 1 < len(code) else None
        result.append([to for to in (target, following) if to is not None])
    return result


def reachable(edges: list[list[int]], start: int, barrier: int = -1) -> set[int]:
    """All that one gets to from the start without passing the barrier."""
    seen, waiting = {barrier}, [start]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += edges[node]
    return seen - {barrier}


def natural_loops(code: list[Instruction]) -> list[set[int]]:
    """The instructions of each loop. A branch backwards closes a loop only where every way to it passes its target: the
    compiler also moves rare code behind the end, from where it branches back into the middle."""
    edges = successors(code)
    live = reachable(edges, 0)
    predecessors: list[list[int]] = [[] for _ in code]
    for node in live:
        for following in edges[node]:
            predecessors[following].append(node)
    loops: dict[int, set[int]] = {}
    for node in live:
        for head in edges[node]:
            if head <= node and node not in reachable(edges, 0, barrier=head):
                loops[head] = loops.get(head, {head}) | reachable(predecessors, node, barrier=head)
    return list(loops.values())


def shortest_round(code: list[Instruction], loop: set[int]) -> list[int]:
    """The fewest instructions that go once around the loop and take an exponential: rare detours are not in it."""
    edges, head = successors(code), min(loop)
    came: dict[tuple[int, bool], tuple[int, bool] | None] = {(head, is_exponential(code[head])): None}
    waiting = deque(came)
    while waiting:  # breadth first: every instruction counts 1
        state = waiting.popleft()
        node, took = state
        for following in edges[node]:
            if following == head and took:
                path = [state]
                while (before := came[path[-1]]) is not None:
                    path.append(before)
                return [node for node, _ in path]
            reached = (following, took or is_exponential(code[following]))
            if following in loop and following != head and reached not in came:
                came[reached] = state
                waiting.append(reached)
    return sorted(loop)


def per_exponential(code: list[Instruction]) -> float | None:
    """Instructions per exponential in the innermost loop that takes most of them."""
    loops = [loop for loop in natural_loops(code) if any(is_exponential(code[i]) for i in loop)]
    innermost = [shortest_round(code, loop) for loop in loops if not any(other < loop for other in loops)]
    counts = [(sum(is_exponential(code[i]) for i in path), len(path)) for path in innermost]
    exponentials, instructions = max(counts, default=(0, 0))
    return round(instructions / exponentials, 1) if exponentials else None


def straight_way(code: list[Instruction]) -> int:
    """Instructions of the way through unrolled code that reads, takes the exponentials of and writes every pack, and
    apart from that is the shortest."""
    edges = successors(code)
    best: dict[int, tuple[int, int]] = {0: (0, 0)}  # packs and exponentials, instructions avoided
    for i, instruction in enumerate(code):
        if i not in best:
            continue
        wide = instruction.opcode.startswith(("LDG", "STG")) and "128" in instruction.opcode
        taken, avoided = best[i]
        best[i] = (taken + (wide or is_exponential(instruction)), avoided - 1)
        for following in edges[i]:
            if following > i:
                best[following] = max(best.get(following, best[i]), best[i])
    ends = (best[i] for i, instruction in enumerate(code) if i in best and instruction.opcode in ("EXIT", "RET"))
    return -max(ends, default=(0, 0))[1]
