"""Plain values that every package may import; nothing in here loads torch, Ray or MLflow.

* ``sections``, ``trial_spec``: the settings of a trial, those that studies have as well among them; ``values``: types;
  ``model_settings``: those of a model, read and written down.
* ``pattern``: N:M.
* ``metrics``, ``measures``, ``declarations``: what is measured, and by whom.
* ``run_tags``, ``run_status``, ``run_params``, ``run_artifacts``: the names under which runs are recorded.
* ``errors``: what ends a trial.
* ``near_names``, ``wording``: messages about unknown names and wrong values.
* ``escaping``, ``secrets``: text from outside, made harmless to show.
* ``lazy_names``, ``log_levels``: imports on first use; other libraries' loggers, silenced around their use.
"""
