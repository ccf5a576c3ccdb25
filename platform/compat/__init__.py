"""Private parts of Ray, Optuna and MLflow, all of them: nothing else in ``platform`` names one.

Every entry says what it does, ``Instead:`` why no public interface does the same, and ``Seen:`` the version in which it
was last found. ``tests/platform/test_platform_compat.py`` uses each of those of Ray and Optuna, and
``tests/platform/test_mlflow_pages.py`` looks up those of MLflow, so an upgrade that breaks one says which.
Those of torch and transformers are in ``trials/compat.py``.
"""
