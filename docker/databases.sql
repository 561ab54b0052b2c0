-- Run once by the PostgreSQL image: one database for each of the three that keep tables.
CREATE DATABASE airflow;
CREATE DATABASE mlflow;
CREATE DATABASE threatwalk;
