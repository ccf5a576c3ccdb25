"""Runs that end with the result of the mask that they started from, on the first screen."""


def test_runs_that_end_where_they_started_are_counted(screen, trial):
    def run(seed, final, initial, **settings):
        params = {name: str(value) for name, value in settings.items()}
        return trial("maskpro", seed, final, initial, params=params, residual=[0.0])

    moved = [run(seed, 80.0 + seed, 120.0, alpha=0.9) for seed in range(3)]
    unmoved = [run(seed, 120.0, 120.0, alpha=0.99) for seed in range(3)]
    some = screen("screen-unmoved", [*moved, *unmoved[:2]])
    assert "started from" not in some.verdict
    (line,) = [line for line in some.trust if "started from" in line]
    assert line.startswith("2 of 5 runs that learn end with the result of the mask that they started from: ")
    assert not [line for line in screen("screen-all-moved", moved).trust if "started" in line]


def test_where_most_runs_end_where_they_started_the_verdict_says_so(screen, trial):
    def run(seed, final, **settings):
        params = {name: str(value) for name, value in settings.items()}
        return trial("maskpro", seed, final, 120.0, params=params, residual=[0.0])

    moved = [run(seed, 80.0 + seed, alpha=0.9) for seed in range(3)]
    unmoved = [run(seed, 120.0, alpha=0.99) for seed in range(3)]
    half = screen("screen-half-unmoved", [*moved, *unmoved])
    assert "3 of 6 runs that learn end with the result of the mask that they started from. " in half.verdict
    assert (
        "A run that ends where it started shows its start, not what it learns: try larger or more steps." in half.trust
    )
    every = screen("screen-all-unmoved", unmoved)
    assert "All 3 runs that learn end with the result of the mask that they started from. " in every.verdict
