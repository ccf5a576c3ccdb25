"""What a trial is going to take, found out before it is started."""
