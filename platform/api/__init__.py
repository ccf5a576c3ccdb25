"""What `import nmlab` gives, and the only part of the platform that the command line calls.

Each module holds the functions of some verbs with the values that they return. They import what they need when they are
called, so that a listing or a refusal loads neither torch nor Ray.

| module | verbs and values |
| --- | --- |
| `study` | `load_study`, `Study` |
| `plans` | `plan`, `Plan` |
| `sweeping` | `sweep`, `resume`, `extend`; `launching` runs a launch for them and for the command line |
| `running` | `run`; `trial_specification` makes the specification of its trial |
| `results`, `sweep_result` | `Trial`, `Configuration`; `SweepResult`; `frames` makes their DataFrames |
| `lookup` | `load_result` |
| `masks` | `load_mask`, `load_model`, `Mask` |
| `evaluating`, `exporting` | `evaluate` (`evaluation_record` is its JSON), `export` |
| `reporting`, `comparing` | `report`; `compare`, `scale`, `diff` |
| `comparison`, `compared_sides` | the value of `compare`; how the sides that it takes are written |
| `listings` | `methods`, `studies` |
| `checkup`, `launch_status`, `cleaning` | `doctor`, `status`, `clean` |
| `submitting`, `browsing` | `submit` (`jobs` sends it), `ui` |
| `suggestions` | what the completion of a shell offers |
| `named_results`, `loading`, `reading` | the name of what is given, the value of a name, the values of a launch |
| `places` | the results folder and the tracking store that are taken where none is given |
| `connection` | on which Ray a sweep runs |
| `progress`, `rendering` | how a sweep is shown while it runs; values as text and HTML |
| `command` | what the command line does to its own process, and a program that imports nmlab does not want |
"""
