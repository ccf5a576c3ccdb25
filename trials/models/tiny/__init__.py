"""The checkpoint behind `builtin:tiny`, an ordinary Hugging Face folder, and the script that trains it."""
