#!/bin/sh
/opt/greenrun/bin/greenrun slurm prolog || :  # put the absolute path of your greenrun here
