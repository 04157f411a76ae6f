#!/bin/sh
/opt/greenrun/bin/greenrun slurm epilog || :  # put the absolute path of your greenrun here
